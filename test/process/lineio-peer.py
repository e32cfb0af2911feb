"""A PLC written with pymodbus: triggers parts, takes their results, and tells them as JSON. Arguments: port, parts."""
import json
import sys
import types

# Debian's package imports its serial client, whose own dependencies it only recommends; this PLC speaks TCP.
serial = types.ModuleType("serial_asyncio")
serial.create_serial_connection = None
sys.modules.setdefault("serial_asyncio", serial)
sys.modules.setdefault("serial", types.ModuleType("serial"))

from pymodbus.client import ModbusTcpClient  # noqa: E402

port, parts = int(sys.argv[1]), int(sys.argv[2])
plc = ModbusTcpClient("127.0.0.1", port=port, timeout=60)
assert plc.connect()


def bits():
    return plc.read_discrete_inputs(0, 11).bits[:11]


told = []
plc.write_registers(1, [int.from_bytes(b"PY", "big")] + [0] * 7)
for _ in range(parts):
    while not bits()[0]:  # triggerReady
        pass
    plc.write_coil(0, True)
    while not bits()[2]:  # resultReady
        pass
    words = plc.read_input_registers(0, 20).registers
    told.append({"bits": bits(), "verdict": words[0], "part": (words[3] << 16) + words[4]})
    plc.write_coil(0, False)
    plc.write_coil(1, True)
    plc.write_coil(1, False)
refused = [plc.write_register(200, 1).isError(), plc.write_coil(9, True).isError()]
print(json.dumps({"told": told, "refused": refused}))
plc.close()
