"""One page of every shared template, with what a service would put in: for budgets, accessibility and looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Any

from shared.web.fields import Field, FieldErrors, Option, WeeklyWindow, availability_values
from shared.web.pages import AccountLinks, NavigationItem, Pages

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Brand:
    primary: str = "#4a2396"
    accent: str = "#a8430a"
    text: str = "#211a33"


@dataclass(frozen=True)
class Organization:
    name: str = "Run Together"
    website: str = "https://run.example"
    contact_email: str = "hello@run.example"
    postal_address: str = "PO Box 100, Springfield, IL 62701"
    brand: Brand = field(default_factory=Brand)


@dataclass(frozen=True)
class Program:
    organization: Organization = field(default_factory=Organization)
    languages: tuple[str, ...] = ("en", "es")
    default_language: str = "en"


def make_pages(program: Program | None = None) -> Pages:
    """Pages of an invented service whose templates extend the shared ones."""
    return Pages(
        service="signup",
        templates=[TEMPLATES],
        locales=[],
        program=program or Program(),
        links={"signup": "https://run.example", "privacy": "https://run.example/privacy"},
        navigation=(
            NavigationItem("today", {"en": "Today", "es": "Hoy"}, "/staff/today"),
            NavigationItem("people", {"en": "People", "es": "Personas"}, "/staff/people"),
            NavigationItem("calls", {"en": "Calls", "es": "Llamadas"}, "/staff/calls"),
            NavigationItem("review", {"en": "Review", "es": "Evaluación"}, "/staff/review"),
            NavigationItem("messages", {"en": "Messages", "es": "Mensajes"}, "/staff/messages"),
            NavigationItem("funnel", {"en": "Funnel", "es": "Embudo"}, "/staff/funnel"),
            NavigationItem("audit", {"en": "Audit", "es": "Auditoría"}, "/staff/audit"),
        ),
    )


OFFICES = (
    Option("school_board", {"en": "School board", "es": "Junta escolar"}),
    Option("city_council", {"en": "City council", "es": "Concejo municipal"}),
    Option("state_house", {"en": "State house", "es": "Cámara estatal"}),
    Option(
        "not_sure",
        {"en": "I don’t know yet", "es": "Todavía no lo sé"},
        {"en": "Most people don’t. We help you find out.", "es": "Casi nadie lo sabe. Le ayudamos a averiguarlo."},
    ),
)

FORM = (
    Field(name="name", kind="text", label={"en": "Your name", "es": "Su nombre"}, autocomplete="name"),
    Field(
        name="email",
        kind="email",
        label={"en": "Email address", "es": "Correo electrónico"},
        hint={"en": "We send one message to confirm it.", "es": "Enviamos un mensaje para confirmarlo."},
        autocomplete="email",
        max_length=254,
    ),
    Field(
        name="phone",
        kind="tel",
        label={"en": "Mobile phone", "es": "Teléfono móvil"},
        autocomplete="tel",
        required=False,
        width=20,
    ),
    Field(
        name="zip",
        kind="text",
        label={"en": "ZIP code", "es": "Código postal"},
        inputmode="numeric",
        autocomplete="postal-code",
        width=5,
        max_length=5,
    ),
    Field(
        name="state",
        kind="select",
        label={"en": "State", "es": "Estado"},
        options=[Option("IL", "Illinois"), Option("TX", "Texas"), Option("WI", "Wisconsin")],
    ),
    Field(
        name="office",
        kind="radios",
        label={"en": "Which office do you have in mind?", "es": "¿En qué cargo piensa?"},
        options=OFFICES,
    ),
    Field(
        name="tracks",
        kind="checkboxes",
        label={"en": "Which calls interest you?", "es": "¿Qué llamadas le interesan?"},
        hint={"en": "Choose all that apply.", "es": "Elija todas las que correspondan."},
        required=False,
        options=[
            Option("students", {"en": "Students", "es": "Estudiantes"}),
            Option("parents", {"en": "Parents", "es": "Madres y padres"}),
        ],
    ),
    Field(
        name="born",
        kind="date",
        label={"en": "Date of birth", "es": "Fecha de nacimiento"},
        autocomplete="bday",
    ),
    Field(
        name="why",
        kind="textarea",
        label={"en": "Why do you think about running?", "es": "¿Por qué piensa en postularse?"},
        required=False,
        rows=4,
        max_length=2000,
    ),
    Field(
        name="text_consent",
        kind="checkbox",
        label={
            "en": "Text me about calls and deadlines. Message and data rates may apply. Reply STOP to stop.",
            "es": "Envíenme mensajes de texto sobre llamadas y plazos. Pueden aplicarse tarifas. STOP para parar.",
        },
        required=False,
    ),
)

AVAILABILITY = Field(
    name="hours",
    kind="availability",
    label={"en": "When are you usually free for calls?", "es": "¿Cuándo suele tener tiempo para llamadas?"},
    hint={"en": "Times are in your own time zone.", "es": "Las horas son de su propia zona horaria."},
)


def sample_pages() -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """By name: the template and its context. Every name serves both languages."""
    form: dict[str, object] = {
        "title": {"en": "I’m thinking about running", "es": "Estoy pensando en postularme"},
        "intro": {
            "en": "Tell us where you are. A person who has done this will call you.",
            "es": "Cuéntenos dónde está. Le llamará alguien que ya lo ha hecho.",
        },
        "action": "/f/run",
        "hidden_values": {"intent_id": "", "rendered_at": "1767225600.c2lnbmVk"},
        "submit_label": {"en": "Count me in", "es": "Cuenten conmigo"},
    }
    wrong = FieldErrors()
    wrong.add("name", {"en": "Enter your name", "es": "Escriba su nombre"})
    wrong.add("email", {"en": "Enter an email like ada@mail.example", "es": "Escriba un correo como ada@mail.example"})
    wrong.add("state", {"en": "Choose your state", "es": "Elija su estado"})
    wrong.add("office", {"en": "Choose an office", "es": "Elija un cargo"})
    wrong.add("born", {"en": "Enter a date", "es": "Escriba una fecha"})
    wrong.add("text_consent", {"en": "Enter a phone number first", "es": "Escriba primero un teléfono"})
    wrong_hours = FieldErrors()
    wrong_hours.add("hours", {"en": "Enter at least one time", "es": "Escriba al menos un horario"})
    wrong_hours.add("hours-tue-1-end", {"en": "Enter a later end time", "es": "Escriba una hora de fin posterior"})
    week = availability_values(
        "hours",
        [
            WeeklyWindow(0, time(18), time(20)),
            WeeklyWindow(5, time(9), time(11)),
            WeeklyWindow(5, time(15), time(17, 30)),
        ],
    )
    return {
        "form": ("form.html", {**form, "form_fields": FORM, "values": {}, "errors": FieldErrors(), "back": "/"}),
        "form-errors": (
            "form.html",
            {
                **form,
                "form_fields": FORM,
                "values": {"email": "ada@", "phone": "312 555 0100", "tracks": ["parents"], "text_consent": "yes"},
                "errors": wrong,
            },
        ),
        "availability": (
            "form.html",
            {**form, "form_fields": [AVAILABILITY], "values": week, "errors": FieldErrors()},
        ),
        "availability-errors": (
            "form.html",
            {
                **form,
                "form_fields": [AVAILABILITY],
                "values": {"hours-tue-1-start": "19:00", "hours-tue-1-end": "18:00"},
                "errors": wrong_hours,
            },
        ),
        "error": (
            "error.html",
            {
                "title": {"en": "This did not work", "es": "Esto no funcionó"},
                "what_happened": {
                    "en": "Something on our side failed before your answers were stored.",
                    "es": "Algo falló de nuestro lado antes de guardar sus respuestas.",
                },
                "what_to_do": {
                    "en": "Go back and send them again. Nothing is sent twice.",
                    "es": "Regrese y envíelas otra vez. Nada se envía dos veces.",
                },
                "correlation_id": "019b1c7e-5a40-7000-8000-3d6f0a9be001",
            },
        ),
        "message": (
            "message.html",
            {
                "title": {"en": "You’re in", "es": "Ya está dentro"},
                "summary": {"en": "Look for our message and confirm your address.", "es": "Confirme su dirección."},
                "next_steps": [
                    {"en": "You confirm your address.", "es": "Usted confirma su dirección."},
                    {"en": "We invite you to the next call.", "es": "Le invitamos a la próxima llamada."},
                ],
                "next_href": "/me",
                "next_label": {"en": "See where you are", "es": "Ver en qué paso está"},
            },
        ),
        "confirm": (
            "confirm.html",
            {
                "title": {"en": "Confirm your email address", "es": "Confirme su correo electrónico"},
                "explanation": {"en": "One press and you are done.", "es": "Un toque y listo."},
                "action": "/confirm",
                "hidden_values": {"token": "c2VjcmV0"},
                "submit_label": {"en": "Confirm", "es": "Confirmar"},
                "otherwise": {"en": "Not you? Close this page.", "es": "¿No es usted? Cierre esta página."},
            },
        ),
        "status": ("status_sample.html", {"title": {"en": "Where you are", "es": "En qué paso está"}}),
        "staff": (
            "staff_sample.html",
            {
                "title": {"en": "Today", "es": "Hoy"},
                "current": "today",
                "counts": {"calls": 14, "review": 3},
                "account": AccountLinks("/me", "/sign-out", posts=True, role={"en": "Staff", "es": "Equipo"}),
            },
        ),
    }
