"""Lets SciPy's own test module, whose cases the exam uses, be imported under strict markers."""


def pytest_configure(config):
    for marker in ("array_api_backends", "skip_xp_backends", "xfail_xp_backends", "xslow", "thread_unsafe"):
        config.addinivalue_line("markers", f"{marker}: of SciPy's test suite, not used here")
