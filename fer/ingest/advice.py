"""What the report advises about a source: warnings of what its owner can set right."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from fer import plain_text
from fer.images.formats import header
from fer.ingest import exclusion, manifest_parts
from fer.ingest.layouts import label_tables, other_files
from fer.ingest.naming import subject_names


def about_quarantine(reasons: Counter[str]) -> Iterator[str]:
    """What to do about images that all went to quarantine for the same avoidable reason."""
    begin = f"{header.UNKNOWN_FORMAT}: "
    unknown = Counter({reason.removeprefix(begin): n for reason, n in reasons.items() if reason.startswith(begin)})
    if kinds := [f"{kind} ({n:,})" for kind, n in unknown.most_common()]:
        yield (
            f"{unknown.total():,} files named or placed like images are of formats that are not read, and are in "
            f"quarantine: {', '.join(kinds)}. Convert pictures to JPEG or PNG; leave other files out by "
            "index.exclude"
        )
    n_unlabelled = sum(n for reason, n in reasons.items() if label_tables.says_unlabelled(reason))
    if n_unlabelled:
        yield (
            f"{n_unlabelled:,} images without a label are in quarantine: --set index.ignore_unlabelled=true leaves "
            "them out"
        )


def about_exclusion(excluding: exclusion.Exclusion) -> Iterator[str]:
    """That patterns of `index.exclude` match nothing."""
    if patterns := excluding.unused:
        yield f"index.exclude leaves nothing out by {', '.join(map(plain_text.quoted, patterns))}"


def about_ignored(ignored: Counter[str]) -> Iterator[str]:
    """That there may be images in what is not looked into."""
    if kinds := [f"{kind} ({n:,})" for kind, n in ignored.items() if kind.startswith(other_files.NESTED)]:
        yield f"archives within the source are not looked into: {', '.join(sorted(kinds))}. Unpack them if they matter"


def about_subjects(parts: Sequence[manifest_parts.Part]) -> Iterator[str]:
    """The pattern for subjects in the names of each source whose images have none, if names look as if they held some.

    Pixels of tables have no names.
    """
    labels_of: dict[str, dict[str, str | None]] = defaultdict(dict)
    with_subjects = set()
    for image in (image for part in parts for image in part.images if image.member is not None):
        labels_of[image.source][image.path] = image.label
        if image.subject is not None:
            with_subjects.add(image.source)
    for source, labels in labels_of.items():
        proposal = None if source in with_subjects else subject_names.propose(labels)
        if proposal is not None:
            yield proposal.sentence(of_source(source, len(labels_of)))


def of_source(name: str, n_sources: int) -> str:
    """What a sentence says of where something is, with a blank after it: nothing of the only source."""
    return f"in {name} " if n_sources > 1 else ""
