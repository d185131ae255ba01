# alone
print(6 * 7)
