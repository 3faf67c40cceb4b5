def never():
    return "imported by nobody"
