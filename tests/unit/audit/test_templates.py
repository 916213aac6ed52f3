"""Which names a template cannot do without."""

from __future__ import annotations

import pytest

from canaryctl.audit.templates import used_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("plain {text}", set()),
        ("{{ a }}/{{ b.c }}/{{ d['e'] }}", {"a", "b", "d"}),
        ("{{ a | default(b) }}", {"b"}),
        ("{{ a.b.c | d('x') }}", set()),
        ("{{ a | upper | default('') }}", {"a"}),
        ("{{ x if a is defined else y }}", set()),
        ("{{ x if a else y }}", {"a"}),
        ("{% if a %}{{ b }}{% endif %}", {"a"}),
        ("{% set own = a %}{{ own }}", {"a"}),
        ("{% for one in a %}{{ one }}{{ b }}{% endfor %}", {"a", "b"}),
        ("{{ lookup('env', a) }} {{ inventory_hostname }} {{ true }}", {"a"}),
        ("{{ a", set()),
        ("{{ a | no_such_filter }}", {"a"}),
    ],
)
def test_names_that_are_needed_whatever_the_template_does(text: str, names: set[str]) -> None:
    assert used_names(text) == names
