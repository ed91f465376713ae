"""hived: keeps the declared node processes of one hive alive, through supervisord."""
