"""What each word of an MOU file means: in the JSON Schema, where editors show it, and in docs/reference/mou.md."""

from collections.abc import Mapping

DESCRIPTIONS: Mapping[str, Mapping[str, str]] = {
    "Mou": {
        "mou": "the MOU's name: capital letters, digits and hyphens",
        "version": "a whole number; a change is a new, higher version, which replaces the one in force",
        "supersedes": "`sha256:` and the SHA-256 of the version before, in hexadecimal; another than the newest is refused",
        "title": "for people",
        "parties": "the two organisations",
        "in_force": "the period",
        "review_by": "a day; once it is past, its review is overdue, and everybody who should act is told",
        "legal_basis": "text",
        "objectives": "a list of texts: what the parties want to reach",
        "roles": "lists of texts for `provider` and `consumer`: what each of them does",
        "contacts": "whom to ask at `provider` and `consumer`",
        "communication": "text: how the parties keep each other informed",
        "conflict_resolution": "text: what they do when they disagree",
        "review": "text: how they review the agreement, by `review_by`",
        "jurisdictions": "boundary files by a name of their own",
        "grants": "one or more grants",
        "refuse": "what the consumer is never shown; see below",
        "tests": "what the authors expect of made-up records; see Tests",
    },
    "Parties": {
        "provider": "slug of the organisation whose records are shared",
        "consumer": "slug of the organisation they are shared with",
    },
    "InForce": {
        "from": "first day, from 00:00 UTC",
        "until": "last day, to its end in UTC",
        "renewal": "`explicit`, the only word so far and the default: an MOU ends unless a new version is loaded",
        "notice_days": "0 to 366, 30 unless said; so many days before its end its renewal is due, and everybody who should act is "
        "told; 0: nobody is",
    },
    "Contact": {
        "name": "a person or an office",
        "role": "what they do",
        "email": "an address",
        "phone": "a number",
    },
    "Jurisdiction": {
        "file": "a GeoJSON file beside the MOU (Polygon or MultiPolygon, WGS 84)",
        "sha256": "SHA-256 of the file's bytes; a changed file is refused",
    },
    "Grant": {
        "id": "the grant's name in this MOU; the log cites it",
        "dataset": "a dataset of the hub: `incidents`",
        "purposes": "one or more purposes such as `public-health.outreach`, of those in the hub's registry if it has one "
        "(`HUB_PURPOSES_FILE`, such as `policies/purposes.yaml`); a token is for one purpose",
        "actions": "of `query` (look at), `export` (take away as one file), `subscribe` (opens nothing yet), "
        "`match` (ask whether a value occurs)",
        "where": "a list of conditions, all of which must hold, or the word `everything`",
        "occurred": "the window on `occurred_at`",
        "case_reference": "`required`, the only word: the grant holds only for requests that name the reader's case",
        "aggregates": "counts without a right to the records; see below",
        "duties": "what the recipient owes for what it is given; see below",
        "fields": "each released field with its treatment; a field that is not listed is withheld",
    },
    "Window": {
        "lookback": "how old a record may be",
        "embargo": "how old a record must be",
    },
    "Aggregates": {
        "min_count": "the least count that is given, 2 or more",
    },
    "Duties": {
        "retain": "a duration of days or longer after which a record that was given is to be deleted",
        "onward": "`forbid`, the only word, and what holds without it: it is not passed on",
        "refrain": "of `NOREUSE` (for no other purpose) and `NORELINK` (not linked to find out who somebody is)",
        "acknowledge": "how soon a recall is to be answered; P7D unless said",
    },
    "Refusal": {
        "id": "the refusal's name; `refusal-1` is the first unless said",
        "dataset": "a dataset of the hub",
        "where": "a list of conditions, all of which must hold, or the word `everything`",
        "fields": "the fields that are refused; of whole records, unless said",
    },
    "OwnTest": {
        "as": "who asks",
        "dataset": "of the record; needed where the grants are about several",
        "record": "a made-up record: where it is, how long `ago`, and any clear fields that conditions test, such as `category`",
        "expect": "`hidden`, `shown`, or for some fields the treatment in which they are shown, such as `{place: {grid_m: 500}, "
        "narrative: withhold}`",
    },
    "As": {
        "organisation": "its slug; anybody but the consumer is shown nothing",
        "purpose": "what for",
        "case": "the reference of a case",
    },
    "TestedRecord": {
        "in": "somewhere in this jurisdiction",
        "at": "or at this place: `[longitude, latitude]` in degrees",
        "ago": "how long ago it happened, such as P3D; at the time of the question unless said",
    },
}
