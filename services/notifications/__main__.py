from services.notifications.app import SERVICE
from shared.service import main

main(SERVICE)
