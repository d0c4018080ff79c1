"""python -m services.signup ROLE"""

from services.signup.app import SERVICE
from shared.service import main

main(SERVICE)
