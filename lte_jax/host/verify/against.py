"""Another verifier beside ours, to see where the two differ. It is no dependency: only used where it is installed."""

from collections.abc import Callable

Other = Callable[[str, str], bool | None]  # gold, response -> correct, or None where it fails
NAMES = ("math-verify",)


def other_verifier(name: str) -> Other:
    """The verifier of that name. Raises ValueError where there is none or it is not installed."""
    if name not in NAMES:
        raise ValueError(f"--against {name}: wanted one of {', '.join(NAMES)}")
    try:
        from math_verify import parse, verify
    except ImportError as error:
        hint = "pip install 'math-verify[antlr4_13_2]'"
        raise ValueError(f"--against {name}: it is not installed ({error}): {hint}") from None

    def correct(gold: str, response: str) -> bool | None:
        try:
            return bool(verify(parse(f"\\boxed{{{gold}}}"), parse(response)))
        except Exception:  # whatever a library of others raises on model text
            return None

    return correct
