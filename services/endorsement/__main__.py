"""`python -m services.endorsement ROLE`."""

from services.endorsement.app import SERVICE
from shared.service import main

main(SERVICE)
