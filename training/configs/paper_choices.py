"""Choices of a training by name, beside what its paper says of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import ClassVar, Self


@dataclass(frozen=True, kw_only=True)
class PaperChoices:
    """A recipe, whose fields are choices."""

    paper_says: ClassVar[Mapping[str, object]] = {}
    """Choices that the paper fixes; no word on others."""
    sizes_said: ClassVar[Mapping[str, object]] = {}
    """Sizes of the paper, for the card."""

    def as_dict(self) -> dict[str, object]:
        """Plain values by name."""
        return asdict(self)

    def deviations(self) -> dict[str, str]:
        """Choices that are not the paper's: name -> this run's and the paper's."""
        return {
            name: f"{value} (paper: {self.paper_says[name]})"
            for name, value in asdict(self).items()
            if name in self.paper_says and value != self.paper_says[name]
        }

    def with_options(self, options: object) -> Self:
        """These choices, with what options of the same names say instead; None says nothing."""
        given = {field.name: getattr(options, field.name, None) for field in fields(self)}
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def rows(self, sizes: Mapping[str, object] | None = None) -> str:
        """Lines of a card's table: name, this run's and the paper's, sizes first."""
        said = {**self.paper_says, **self.sizes_said}
        return "\n".join(
            f"| {name} | {value} | {said.get(name, 'not said')} |"
            for name, value in {**(sizes or {}), **asdict(self)}.items()
        )
