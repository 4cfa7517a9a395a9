# A proxy of a few lines for the tests of capture. It says which side a connection came in on and where it was going, and
# passes it on with the mark of that side. Arguments: pairs VIP=IP:PORT that the outbound side replaces, as a mesh would.
import socket, struct, sys, threading

SO_MARK, SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST = 36, 80, 80
services = dict(pair.split("=") for pair in sys.argv[1:])


def original(c):
    if c.family == socket.AF_INET6:
        raw = c.getsockopt(socket.IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, 28)
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0]
    raw = c.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    return socket.inet_ntoa(raw[4:8]), struct.unpack("!H", raw[2:4])[0]


def handle(c, side, mark):
    ip, port = original(c)
    said = f"{side} {ip} {port};"
    if side == "outbound" and ip in services:
        ip, port = services[ip].rsplit(":", 1)
    u = socket.socket(c.family)
    u.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    u.settimeout(20)
    try:
        u.connect((ip, int(port)))
        said += u.recv(1000).decode()
    except OSError as error:
        said += f"failed {error}"
    c.sendall(said.encode())
    c.close()


def serve(listener, side, mark):
    while True:
        c, _ = listener.accept()
        threading.Thread(target=handle, args=(c, side, mark), daemon=True).start()


for family, wildcard in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    for port, side, mark in ((15001, "outbound", 1337), (15006, "inbound", 1338)):
        listener = socket.create_server((wildcard, port), family=family)
        threading.Thread(target=serve, args=(listener, side, mark), daemon=True).start()

dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.bind(("127.0.0.1", 15053))
print("up", flush=True)
while True:
    query, peer = dns.recvfrom(1000)
    dns.sendto(b"answer to " + query, peer)
