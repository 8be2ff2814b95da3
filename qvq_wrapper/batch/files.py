class Summary: pass
def answer_file(): pass
