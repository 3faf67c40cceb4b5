from pathlib import Path

SECRET_KEY = "for tests only"
INSTALLED_APPS = ["shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASE = Path(__file__).parent.parent / "test.sqlite3"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE, "TEST": {"NAME": DATABASE}},
}
