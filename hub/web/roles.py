"""What roles mean, in words: for invitations, accounts, and everybody's start page."""

SAYS = {
    "analyst": "looks at what agreements share: on the map, in lists, for a purpose that is told",
    "integrator": "connects programs that publish and read",
    "auditor": "reads who saw what, and why it was allowed",
    "agreement-lead": "answers for agreements, and sees who looked at the organisation's records",
    "operator": "runs the hub: invites people, adds organisations, loads agreements",
}
