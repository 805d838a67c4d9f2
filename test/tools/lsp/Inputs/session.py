"""Talks to a language server: opens a good and a bad document and prints what it says of them."""

import json
import subprocess
import sys

GOOD = """func.func @f(%a: !ckks.ct<5, S(5)>) -> !ckks.ct<5, S(5)> {
  %0 = ckks.negate %a : !ckks.ct<5, S(5)>
  return %0 : !ckks.ct<5, S(5)>
}
"""
BAD = """func.func @f(%a: !ckks.ct<5, S(5)>, %b: !ckks.ct<4, S(4)>) {
  %0 = ckks.add %a, %b : !ckks.ct<5, S(5)>, !ckks.ct<4, S(4)>
  return
}
"""


class Server:
    def __init__(self, command):
        self.process = subprocess.Popen([command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)

    def send(self, method, parameters, identifier=None):
        message = {"jsonrpc": "2.0", "method": method, "params": parameters}
        if identifier is not None:
            message["id"] = identifier
        body = json.dumps(message).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def receive(self):
        length = 0
        while line := self.process.stdout.readline().strip():
            name, value = line.split(b":", 1)
            if name == b"Content-Length":
                length = int(value)
        if not length:
            sys.exit("the server closed the connection")
        return json.loads(self.process.stdout.read(length))


server = Server(sys.argv[1])
server.send("initialize", {"processId": None, "rootUri": None, "capabilities": {}}, 1)
capabilities = server.receive()["result"]["capabilities"]
print("capabilities:", "hover" if capabilities.get("hoverProvider") else "no hover")
for name, text in [("good.mlir", GOOD), ("bad.mlir", BAD)]:
    document = {"uri": f"file:///{name}", "languageId": "mlir", "version": 1, "text": text}
    server.send("textDocument/didOpen", {"textDocument": document})
    message = server.receive()
    while message.get("method") != "textDocument/publishDiagnostics":
        message = server.receive()
    diagnostics = message["params"]["diagnostics"]
    if not diagnostics:
        print(f"{name}: no diagnostics")
    for diagnostic in diagnostics:
        print(f"{name}:{diagnostic['range']['start']['line']}: {diagnostic['message']}")
server.send("shutdown", {}, 2)
server.receive()
server.send("exit", {})
sys.exit(server.process.wait(timeout=10))
