from services.matching.app import SERVICE
from shared.service import main

main(SERVICE)
