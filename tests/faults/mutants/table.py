"""Every mutant, in the order in which a person meets the parts."""

from tests.faults.mutants import backbone, deciding, sending
from tests.faults.mutants.mutant import Mutant

TABLE: tuple[Mutant, ...] = (*sending.MUTANTS, *backbone.MUTANTS, *deciding.MUTANTS)
