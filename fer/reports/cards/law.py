"""What the law of the European Union says of models that read expressions, with its sources. No legal advice."""

from typing import NamedTuple

REGULATION = "Regulation (EU) 2024/1689 (Artificial Intelligence Act)"
ADDRESS = "https://eur-lex.europa.eu/eli/reg/2024/1689/oj"


class Rule(NamedTuple):
    """A provision: where it stands, and what it says in short."""

    place: str
    says: str


RULES = (
    Rule(
        "Article 5(1)(f)",
        "it is prohibited to place on the market, to put into service for this purpose or to use AI systems that infer "
        "emotions of a natural person in the areas of workplace and education institutions, except for medical or "
        "safety reasons (applies since 2 February 2025)",
    ),
    Rule(
        "Article 50(3)",
        "whoever deploys an emotion recognition system must inform the people who are exposed to it of its operation, "
        "and process their personal data in accordance with the GDPR (applies from 2 August 2026)",
    ),
    Rule("Annex III, point 1(c)", "systems that are intended for emotion recognition are high-risk systems"),
)
