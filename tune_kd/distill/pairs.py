"""Which feature maps of two networks belong together."""

from tune_kd.distill.method import Network, Shape
from tune_kd.errors import InputError, did_you_mean

Pair = tuple[str, str]


def pairs(student: Network, teacher: Network, wanted: str, published: str) -> tuple[Pair, ...]:
    """Paths of the student's and the teacher's maps: as named (`a:b, c:d`), else some of those found by themselves."""
    if ":" in wanted:
        return tuple(_named(text, student, teacher) for text in wanted.split(","))
    found = matching(student, teacher)
    match published if wanted == "auto" else wanted:
        case "first":
            return found[:1]
        case "middle":
            return (found[len(found) // 2],)
        case "last":
            return found[-1:]
        case _:
            return found


def matching(student: Network, teacher: Network) -> tuple[Pair, ...]:
    """The last map of each resolution that both have, since a stage ends there; with none in common their last ones."""
    ours, theirs = _stages(student), _stages(teacher)
    common = tuple((path, theirs[size]) for size, path in ours.items() if size in theirs)
    if not ours or not theirs:
        raise InputError(
            "kd.method looks at feature maps (channels x height x width), and "
            f"the {'teacher' if ours else 'student'}'s model has none. Choose a method that compares logits."
        )
    return common or ((list(ours.values())[-1], list(theirs.values())[-1]),)


def _stages(network: Network) -> dict[Shape, str]:
    """The last map of each resolution, in the order of the run; a single pixel is no map."""
    ends: dict[Shape, str] = {}
    for path, shape in network.shapes.items():
        if len(shape) == 3 and max(shape[1:]) > 1:
            ends.pop(shape[1:], None)
            ends[shape[1:]] = path
    return ends


def _named(text: str, student: Network, teacher: Network) -> Pair:
    own, _, other = (part.strip() for part in text.partition(":"))
    for path, network, whose in ((own, student, "student"), (other, teacher, "teacher")):
        maps = [each for each, shape in network.shapes.items() if len(shape) == 3]
        if path not in maps:
            raise InputError(
                f"kd.layers = {text.strip()}: the {whose} has no feature map '{path}'.{did_you_mean(path, maps)} "
                f"Its maps: {', '.join(maps)}."
            )
    return own, other
