"""Which images are near-twins of which, read from the pairs of inspection (`data_contracts.curation.PAIRS`).

The pairs name one image of each set of identical ones; here they hold for all images of the set.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence


class Twins:
    """Near-twins of the images `image_ids`, whose decoded pixels are `pixel_sha256s`, by the `pairs` of image_ids.

    Give it all images that inspection saw: a pair speaks for every image that is identical to one of its two.
    Raises KeyError for a pair of an image that is not among `image_ids`.
    """

    def __init__(self, image_ids: Sequence[str], pixel_sha256s: Sequence[str], pairs: Iterable[tuple[str, str]]):
        self._content = dict(zip(image_ids, pixel_sha256s, strict=True))
        self._images: defaultdict[str, list[str]] = defaultdict(list)
        for image_id in sorted(image_ids):
            self._images[self._content[image_id]].append(image_id)
        self._near: defaultdict[str, set[str]] = defaultdict(set)
        for first, second in pairs:
            one, other = self._content[first], self._content[second]
            if one != other:
                self._near[one].add(other)
                self._near[other].add(one)
        self._group = self._groups()

    def near(self, image_id: str) -> list[str]:
        """Its identical images, the images that form a pair with one of them, and those identical to such; sorted.

        Only what is alike directly: the near-twin of a near-twin need not look like the image.
        """
        content = self._content[image_id]
        contents = (content, *self._near.get(content, ()))
        return sorted(other for each in contents for other in self._images[each] if other != image_id)

    def group(self, image_id: str) -> str:
        """The smallest image_id of all that chains of near-twins connect with this image; its own if there is none."""
        return self._group[self._content[image_id]]

    def _groups(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in self._images:  # in the order of their smallest image_id, so that a group is met first at its own
            if start in found:
                continue
            waiting = [start]
            while waiting:
                content = waiting.pop()
                if content not in found:
                    found[content] = self._images[start][0]
                    waiting += self._near.get(content, ())
        return found
