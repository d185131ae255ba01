import subprocess

print(subprocess.run(["true"]).returncode)
print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True, text=True))
