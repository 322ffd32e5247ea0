def pytest_terminal_summary(terminalreporter):
    """With `-v`: how far we are from each reference."""
    if terminalreporter.verbosity < 1:
        return
    rows = [
        (dict(report.user_properties)["largest_difference"], report.nodeid.partition("::")[2])
        for report in terminalreporter.getreports("passed")
        if "largest_difference" in dict(report.user_properties)
    ]
    terminalreporter.section("largest differences from the references")
    for difference, name in rows:
        terminalreporter.write_line(f"{difference:.1e}  {name}")
