"""Caps on what is read at all. They decide first, whatever the load: past one a verdict is `too_large`."""

MAX_RESPONSE_CHARS = 262_144  # of a response only its last part is searched
MAX_ANSWER_CHARS = 4_000
MAX_TOKENS = 2_000
MAX_DEPTH = 32  # of brackets, fractions, roots, exponents
MAX_HEIGHT = 80  # of the tree that comes of it: a/b/c/d is as high as it is long
MAX_DIGITS = 1_000  # of one number as written, and its decimal exponent
MAX_BITS = 20_000  # of an exact number on the way: 2^20000, 2000!
MAX_ITEMS = 64  # of a list, set or tuple
MAX_COMPARISONS = 10_000  # of parts of two answers: sets in any order, of sets in any order
MAX_TOWER = 3  # exponents inside exponents
MAX_EXPONENT = 100_000  # of a power that is only evaluated numerically
MAX_FACTORIAL = 3_000
MAX_PARTS = 20_000  # nodes of all terms of a sum or product with an index
MAX_ENTRY_PARTS = 2_000  # of a determinant, of an entry of a product of matrices
