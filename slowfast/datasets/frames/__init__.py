"""Sources of frames: image files, video files, and the folders that hold them."""
