from fer.reports import markdown_tables


def test_columns_of_numbers_and_of_texts_of_numbers_are_set_to_the_right():
    rows = [
        {"name": "a|b", "n": 1_200, "share": "7.2%", "p": "4.8e-05", "mixed": 3, "none": ""},
        {"name": "2", "n": "", "share": "−13.3 %", "p": "", "mixed": "3 of 4", "none": ""},
    ]
    head, line, first, _ = markdown_tables.table(rows).splitlines()
    assert head == "| name | n | share | p | mixed | none |"
    assert line == "| --- | ---: | ---: | ---: | --- | --- |"
    assert first.startswith("| a\\|b | 1,200 |")
    assert markdown_tables.table([]) == ""
