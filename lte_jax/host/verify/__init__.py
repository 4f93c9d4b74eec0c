"""The verifier: finds the final answer in a response and compares it with the reference. No jax, usable alone.

Model text is never evaluated; whatever needs sympy runs in a worker with limits, which is killed if it hangs.
"""

from lte_jax.host.answers.decide import check_gold
from lte_jax.host.verify.files import verify_file
from lte_jax.host.verify.verifier import Verifier, grade

__all__ = ["Verifier", "check_gold", "grade", "verify_file"]
