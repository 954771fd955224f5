"""
Saves as gedit does, for one long session: GLib's g_file_replace() with the entity tag of the last save.
Reads "save N" and N bytes, saves them, and answers in one line: "saved", or "failed: REASON".
    save_as_gio.py PATH
"""
import ctypes
import sys


class GError(ctypes.Structure):
    _fields_ = [("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p)]


def library():
    gio = ctypes.CDLL("libgio-2.0.so.0")
    gio.g_file_new_for_path.restype = ctypes.c_void_p
    gio.g_file_new_for_path.argtypes = [ctypes.c_char_p]
    text, error = ctypes.POINTER(ctypes.c_char_p), ctypes.POINTER(ctypes.POINTER(GError))
    gio.g_file_load_contents.argtypes = [ctypes.c_void_p, ctypes.c_void_p, text, ctypes.c_void_p, text, error]
    gio.g_file_replace_contents.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p,
                                            ctypes.c_int, ctypes.c_uint, text, ctypes.c_void_p, error]
    return gio


def main():
    gio = library()
    file = gio.g_file_new_for_path(sys.argv[1].encode())
    tag, contents, error = ctypes.c_char_p(), ctypes.c_char_p(), ctypes.POINTER(GError)()
    if not gio.g_file_load_contents(file, None, ctypes.byref(contents), None, ctypes.byref(tag), ctypes.byref(error)):
        sys.exit(error.contents.message.decode())
    print("opened", flush=True)
    for line in sys.stdin.buffer:
        data = sys.stdin.buffer.read(int(line.split()[1]))
        new_tag, error = ctypes.c_char_p(), ctypes.POINTER(GError)()
        if gio.g_file_replace_contents(file, data, len(data), tag, 0, 0, ctypes.byref(new_tag), None, ctypes.byref(error)):
            tag = new_tag
            print("saved", flush=True)
        else:
            print("failed:", error.contents.message.decode(), flush=True)


main()
