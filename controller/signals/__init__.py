"""What is observed: watches and polls that keep the view from which snapshots are taken. Nothing here decides or acts."""
