"""Where pictures come from: image files, video files, and the folders that hold them."""
