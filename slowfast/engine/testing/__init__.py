"""Views, features and the test tasks."""
