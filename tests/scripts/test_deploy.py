"""What the scripts of deploy/ check and say on a machine that lacks something."""

import os
import pathlib
import subprocess
import tempfile
import unittest

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"


class Prepare(unittest.TestCase):
    """On this machine with some programs of another: their versions are what is asked for."""

    def setUp(self):
        self.programs = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="programs-")))

    def has(self, program, script):
        path = self.programs / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def said(self, *targets):
        """The exit code, and what is missing."""
        variables = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}"}
        command = [DEPLOY / "prepare.sh", *targets]
        ran = subprocess.run(command, env=variables, stderr=subprocess.PIPE, text=True)
        return ran.returncode, ran.stderr.splitlines()

    def test_each_target_takes_its_own_python(self):
        self.has("apt-cache", "exit 1")
        self.has("cargo", "echo cargo 99.0.0")
        for version, passing in {
            "3.7.3": [],
            "3.8.2": ["build"],
            "3.9.2": ["build"],
            "3.10.12": ["build", "demo"],
            "3.11.2": ["build", "demo", "test"],
        }.items():
            self.has("python3", f"[ $1 = -c ] || echo Python {version}")
            self.assertEqual([each for each in ("build", "demo", "test") if self.said(each)[0] == 0], passing)
        self.has("python3", "[ $1 = -c ] || echo Python 3.10.12")
        self.assertEqual(self.said("demo", "test")[1][0], "python3 is 3.10.12, 3.11 or later is needed")

    def test_a_newer_python_of_the_distribution_is_one_line_away(self):
        self.has("python3", "[ $1 = -c ] || echo Python 3.10.12")
        self.has("apt-cache", "echo python3.10-venv - for 3.10; echo python3.11-venv - for 3.11")
        hint = (
            "hint: sudo apt-get install -y python3.11-venv && python3.11 -m venv ~/python3.11 && "
            "export PATH=~/python3.11/bin:$PATH"
        )
        self.assertEqual(self.said("test"), (1, ["python3 is 3.10.12, 3.11 or later is needed", hint]))

    def test_a_missing_compiler_is_one_line_away(self):
        self.has("cargo", "echo cargo 1.63.0")
        self.has("rustup", "exit 0")
        code, [problem, hint] = self.said("build")
        self.assertEqual(code, 1)
        self.assertRegex(problem, "Rust is 1.63.0, [0-9.]+ is needed")
        self.assertRegex(hint, "hint: rustup toolchain install [0-9.]+")


class Venv(unittest.TestCase):
    def test_it_is_made_anew_only_if_it_is_another_or_half_made(self):
        venv = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="venv-")))
        mark = venv / "mark"

        def remade(package, code=0):
            mark.touch()
            ran = subprocess.run([DEPLOY / "venv.sh", venv, package], stderr=subprocess.DEVNULL)
            self.assertEqual(ran.returncode, code)
            return not mark.exists()

        # pip is there as soon as the environment is: nothing is fetched.
        self.assertTrue(remade("pip"))
        self.assertFalse(remade("pip"))
        self.assertTrue(remade("./missing", code=1))
        self.assertTrue(remade("pip"))
