"""Tells twistd of ``twistd image-cri-shim``; everything is in image_cri_shim.tap."""

from twisted.application.service import ServiceMaker

image_cri_shim = ServiceMaker(
    "image-cri-shim",
    "image_cri_shim.tap",
    "Pull Kubernetes images from the registries that have them (a CRI proxy).",
    "image-cri-shim",
)
