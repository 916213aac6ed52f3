"""What the commands of pipeline.py are made of: functions over a Work."""
