"""What a process needs to know about its machine: its device, its rank among several, signals that end it."""
