"""What the paper prints (arXiv 2503.08307, Tables 1-3): FVD, KVD and FAD of 2048 samples of 16 frames at 64x64."""

Printed = dict[str, float]


def _printed(fvd: float, kvd: float, fad: float) -> Printed:
    return {"fvd": fvd, "kvd": kvd, "fad_mmd": fad}


SETS = {"aist": "AIST++", "landscape": "Landscape"}

LETTERS = {"joint_attention": "(a)", "average": "(b)", "conditioned_average": "(c)"}
REFERENCE = "conditioned_average"
"""The paper's choice, to which it compares the others."""

FUSIONS: dict[str, Printed] = {  # Table 1.A: AIST++, window 10, 20 steps
    "joint_attention": _printed(53.38, 7.33, 8.70),
    "average": _printed(51.31, 9.76, 8.30),
    "conditioned_average": _printed(50.92, 8.73, 8.40),
}
FUSION_COST = {  # Table 1.A: seconds for a sample of 16 frames, and GB, on an RTX 4090
    "joint_attention": (15.47, 7.9),
    "average": (3.92, 2.7),
    "conditioned_average": (3.94, 2.7),
}
WINDOWS: dict[int, Printed] = {  # Table 1.B: AIST++, fusion (c), 20 steps
    5: _printed(65.42, 10.41, 8.46),
    10: _printed(50.92, 8.73, 8.40),
    20: _printed(77.55, 12.71, 8.53),
}
REAL: dict[str, Printed] = {  # Table 2, first row
    "aist": _printed(3.67, -0.28, 8.25),
    "landscape": _printed(7.45, -0.15, 9.33),
}
STEPS: dict[str, dict[int, Printed]] = {  # Table 2, RFLAV
    "aist": {
        20: _printed(50.92, 8.73, 8.40),
        100: _printed(38.93, 6.58, 8.35),
        200: _printed(38.36, 6.15, 8.28),
    },
    "landscape": {
        20: _printed(86.53, 3.36, 10.49),
        100: _printed(85.44, 3.73, 9.61),
        200: _printed(80.19, 3.30, 9.88),
    },
}
OTHERS: dict[str, dict[str, Printed]] = {  # Table 2; of Wang et al. as they have printed it themselves
    "MM-Diffusion, 426 M, 25 steps": {
        "aist": _printed(224.14, 50.52, 11.41),
        "landscape": _printed(177.29, 7.63, 9.73),
    },
    "Wang et al., 931 M, 250 steps": {
        "aist": _printed(68.88, 21.01, 10.17),
        "landscape": _printed(172.69, 15.41, 11.17),
    },
}
OTHERS_CONDITIONAL: dict[str, dict[str, Printed]] = {  # Table 3; as they have printed it themselves
    "Kim et al., 731 M, 250 steps": {
        "aist": _printed(38.04, 5.27, 1.10),
        "landscape": _printed(86.79, 4.30, 0.78),
    },
}
CONDITIONAL: dict[str, dict[int, Printed]] = {  # Table 3, RFLAV: FVD and KVD of A2V, FAD of V2A
    "aist": {200: _printed(46.81, 8.72, 8.52)},
    "landscape": {200: _printed(94.47, 4.00, 9.34)},
}


def title_of(fusion: str) -> str:
    """A fusion with its letter in Fig. 3: "(c) conditioned_average"; one that the paper does not have, by its name."""
    return f"{LETTERS[fusion]} {fusion}" if fusion in LETTERS else fusion


def cost_ratios(fusion: str) -> tuple[float, float] | None:
    """Time and memory of Table 1.A over those of (c); None of a fusion that the paper does not have."""
    if fusion not in FUSION_COST:
        return None
    (seconds, gigabytes), (base_seconds, base_gigabytes) = FUSION_COST[fusion], FUSION_COST[REFERENCE]
    return seconds / base_seconds, gigabytes / base_gigabytes
