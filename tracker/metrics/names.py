"""What the metrics are called and what they mean, one line each; formulas are in `metrics` and `vot`, the page in
docs/protocol.md."""

from __future__ import annotations

METRICS: dict[str, str] = {
    "ao": "average overlap: mean IoU over frames 2..N (GOT-10k: pooled over all sequences; elsewhere mean over "
    "sequences)",
    "sr50": "success rate: share of those frames with IoU > 0.5",
    "sr75": "share of those frames with IoU > 0.75",
    "mao": "class-balanced AO: mean over classes of the mean over the sequences of a class (GOT-10k paper)",
    "msr50": "class-balanced SR at 0.5",
    "msr75": "class-balanced SR at 0.75",
    "ao_exact": "AO with boxes clipped to the frame properly, where the got10k package shifts boxes with a negative "
    "corner",
    "ao_sequences": "mean over sequences of AO, instead of pooling frames (long sequences weigh no more than short "
    "ones)",
    "auc": "success AUC: mean of the success curve at 21 thresholds 0, 0.05, ..., 1, averaged over sequences",
    "precision20": "precision: share of frames whose centre is at most 20 px off, averaged over sequences",
    "norm_precision20": "normalised precision at 0.20 (pysot, pytracking): centre error over the true width and height",
    "norm_precision_auc": "normalised precision, mean of the curve at 51 thresholds 0, 0.01, ..., 0.5 (TrackingNet "
    "server, LaSOT paper)",
    "success50": "share of frames with IoU > 0.5, averaged over sequences",
    "auc_visible": "success AUC where a frame in which the tracker said LOST counts as a miss; AUC takes its best "
    "guess",
    "auc_tracked": "success AUC without the first frame, which toolkits count as a hit although it is given",
    "auc_all_frames": "success AUC where frames without a target count as misses (pysot and pytracking on UAV123; "
    "pytracking on LaSOT)",
    "accuracy": "VOT accuracy: mean overlap while tracking, first 10 frames after each initialisation left out, pooled",
    "robustness": "VOT robustness as pysot prints it: failures per 100 frames",
    "failures": "VOT: number of failures",
    "reliability30": "VOT: exp(-30 failures / frames), the chance to survive 30 frames",
    "eao": "VOT expected average overlap over the year's interval of sequence lengths",
    "accuracy_tags": "VOT accuracy, weighted by attribute tags as the got10k package does",
    "failures_tags": "VOT failures, weighted by attribute tags as the got10k package does",
    "fps": "speed, mean of rates: mean of 1/seconds over frames (GOT-10k, VOT: pooled; elsewhere mean over "
    "sequences); no decoding",
    "fps_total": "speed, updates over their total seconds: what a user waits for; no decoding, no initialisation",
    "decode_ms": "milliseconds to read and decode a frame, kept apart from the tracker's time",
}

PRIMARY: dict[str, tuple[str, ...]] = {
    "got10k": ("ao", "sr50", "sr75"),
    "otb": ("auc", "precision20", "norm_precision20"),
    "lasot": ("auc", "precision20", "norm_precision_auc"),
    "trackingnet": ("auc", "precision20", "norm_precision_auc"),
    "vot": ("eao", "accuracy", "robustness"),
}
