"""Where frames come from: videos, images, cameras and streams."""
