"""`python -m tests.component.kernel.tinyservice ROLE`."""

from shared.service import main
from tests.component.kernel.tinyservice.app import SERVICE

main(SERVICE)
