// How the host and the agent, a guest's first process, talk. The one header that both sides include.
//
// The agent connects to port kPort of the host's (virtio-vsock, address 2) and sends `hello`; this connection
// is the control one: requests come down, reports go up, in any number at once. Its end is the machine's: the
// agent powers off. Each stream of a command, each tree of files and each relayed connection is a connection
// of its own that the agent opens to the same port, and whose first frame says what it is; behind that frame
// the bytes of a stream are as they are, and each half closes apart. So a reader who is slow in one of them
// holds nothing else up.
//
// A frame is a header of three little-endian words (type, number, size) and `size` bytes of payload. A
// payload is a row of fields: a tag and a length, words too, and so many bytes. What a number or text is made
// of stands at the tags. Fields may come in any order. A field or frame that the receiver does not know is an
// error of the sender: what is new is only used behind a `hello` that tells of a version which has it.
//
// Both sides hold the other for hostile: whatever is malformed or too large ends the connection. No header of
// C++'s is used here, since the agent has a C library only.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace hull::agent {

constexpr uint32_t kPort = 1024;  ///< of the host's, that the agent connects to
constexpr uint64_t kVersion = 7;  ///< of this protocol
constexpr uint32_t kHeaderSize = 12;
constexpr uint32_t kMostRequest = 256 << 10;     ///< the most bytes of payload that the host sends in a frame
constexpr uint32_t kMostReport = 64 << 10;       ///< and that the agent sends
constexpr uint32_t kMostRead = 16 << 10;         ///< bytes of a file that `read` tells
constexpr uint32_t kMostDatagram = 4096;         ///< bytes of what a kDatagrams carries
constexpr uint32_t kDatagramHeader = 8;          ///< bytes before each of those
constexpr uint32_t kMostFrame = 1518;            ///< bytes of what a kFrames carries
constexpr uint32_t kMacSize = 6;                 ///< bytes
constexpr uint32_t kEveryCommand = 0xffff'ffff;  ///< the number of `signal` for all processes but the agent
/// The text of kFailed where a command was made ready and its program could not be started.
constexpr const char* kToRunIt = "to run it";

enum Type : uint32_t {
    // From the host. Where one fails the agent says so (`failed`) with its number, which the host chooses;
    // one that does its work is not answered, unless it says so. They are done in the order in which they
    // come. Where one of the
    // first three, kNode or kLink has a root, its path, and whatever links it leads over, begin there.
    kFolder = 1,   ///< make a folder and those above it: path, mode, root
    kFile = 2,     ///< write a file, in place of one that is there, or into that one: path, mode, content,
                   ///< root
    kMount = 3,    ///< mount(2) at a folder, which is made: source, path, kind, options, flags, root
    kAddress = 4,  ///< give a network interface its address: source (its name), address, prefix, gateway
    kRun = 5,      ///< start command `number` (kStarted): argument…, environment…, and what stands at the
                   ///< tags
    kSignal = 6,   ///< send command `number` and what is in its process group a signal: value. One that has
                   ///< a pid namespace, of its own or another's, gets it alone
    kResize = 7,   ///< the terminal of command `number` has another size: rows, columns
    kSendTree = 8,  ///< send what is in a folder over a connection of its own (kTree): path
    kRelay = 9,     ///< listen at an address, and carry whoever comes (kRelayed): address, port
    kNode = 10,     ///< make a device node: path, mode, device, root
    kLink = 11,     ///< make a symbolic link: path, target, root
    kRead = 12,     ///< tell what is in a file, up to kMostRead bytes (kContents): path
    kBind = 13,     ///< mount what is at a path outside of the root at one in it, where a place is made if
                    ///< there is none: source (absolute, no link), path, root, flags
    kCopyUp = 14,   ///< copy what is in a folder of the root into one outside of it, and the folder's owner
                    ///< and mode, unless there is something or the first is no folder: source, path, root
    kRelaySocket = 15,  ///< listen at a unix socket, which is made, as kRelay does: path, mode
    // The next four have their answer, an error too, on a connection of its own (kTransfer). With a root,
    // whatever links the path leads over begin there.
    kLook = 16,       ///< tell of a file: path, root
    kPack = 17,       ///< send a file, or a folder and what is below it: path, root, flags
    kUnpack = 18,     ///< put what the host sends into a folder: path, root, flags, user
    kCompare = 19,    ///< tell what is in a folder, the upper one of an overlay, and not so in another: path,
                      ///< source
    kRelayPort = 21,  ///< listen at a port of an address for connections (kRelayed) and for datagrams
                      ///< (kDatagrams, at once), and carry both; once. With a group: at another port, to
                      ///< which that one leads who is in there: address, port, group
    kPlug = 22,       ///< make a network interface, whose frames are carried (kFrames) until that connection
                      ///< ends, which is the interface's end: source (its name), content (its MAC)
    kUnplug = 23,     ///< take a network interface of the machine's out of the guest: source (its name)

    // From the agent, on the control connection.
    kHello = 64,     ///< the first frame: version
    kFailed = 65,    ///< request `number` could not be done: error, text
    kExited = 66,    ///< command `number` has ended: status or signal
    kStarted = 67,   ///< command `number` is the program that was asked for
    kContents = 68,  ///< what the file of request `number` (kRead) has in it: content

    // From the agent, as the first frame of a further connection, with no payload.
    kInput = 80,      ///< command `number`'s standard input, from the host
    kOutput = 81,     ///< its standard output, to the host
    kErrors = 82,     ///< its standard error
    kTerminal = 83,   ///< its terminal, both ways, instead of the three above
    kTree = 84,       ///< the answer to request `number` (kSendTree): kEntry, kData and kEnd follow
    kRelayed = 85,    ///< somebody came to where request `number` (kRelay, kRelaySocket, kRelayPort) has the
                      ///< agent listen
    kTransfer = 86,   ///< the answer to request `number` (kLook to kCompare)
    kDatagrams = 87,  ///< what comes to the port of request `number` (kRelayPort), and answers to that: each
                      ///< behind its length (two bytes, the higher first, up to kMostDatagram), and whose it
                      ///< is in the guest: address (four) and port (two)
    kFrames = 88,     ///< what the interface of request `number` (kPlug) sends, and what it is to receive:
                      ///< each Ethernet frame, without its checksum, behind its length (two bytes, the higher
                      ///< first, up to kMostFrame)

    // From the agent, behind kTree. A folder comes before what is in it.
    kEntry = 96,  ///< a file, folder or symbolic link: path (relative, without "." or ".."), mode, target
    kData = 97,   ///< a part of the file before it: the payload is its bytes
    kEnd = 98,    ///< that was all

    // Behind kTransfer there are kEntry and kData, too, and kEnd, or kFailed (with a path, where it is of a
    // file) in its place: from the agent, and for kUnpack from the host, whom the agent answers by one of
    // these two. Of kLook and kPack the first entry is the path itself, called "". Those in a folder come in
    // the order of their names' bytes, and behind each folder at once what is in it. A file's kData are
    // together as long as its size says. An entry has all that it is: path, mode, owner, group, time, and
    // what stands at the tags.
};

/// Flags of kPack and kUnpack.
enum ContentsFlag : uint64_t {
    kBare = 1,         ///< of kPack: what is mounted in the root does not count, but what is under it
    kAllLinks = 2,     ///< hard links between any files are told, and not only those in one folder
    kKeepKind = 4,     ///< of kUnpack: it is an error where a folder would take the place of something else,
                       ///< or something else that of a folder
    kToTheDisk = 8,    ///< what was put there is on the guest's disk when that is answered
    kUsersFiles = 16,  ///< all is the user's (kUser)
};

/// How an entry of kCompare differs (kChange).
enum Change : uint64_t { kModified = 0, kAdded = 1, kDeleted = 2 };

/// A number has eight bytes, little-endian. A text has at least one byte; the last, and no other, is zero.
enum Tag : uint32_t {
    kVersionTag = 1,     ///< number
    kPath = 2,           ///< text; of a folder to run in where the request is kRun
    kMode = 3,           ///< number: as chmod(2) takes it; of an entry or a node with its type, as stat(2)
                         ///< tells it; left out of kFile: into the file that is there; of kFolder: 0755
                         ///< where it is made
    kContent = 4,        ///< bytes
    kSource = 5,         ///< text
    kKind = 6,           ///< text: of file system
    kOptions = 7,        ///< text
    kFlags = 8,          ///< number: MS_…
    kIp = 9,             ///< number: an IPv4 address, 127.0.0.1 is 0x7f000001
    kPrefix = 10,        ///< number: 0 to 32
    kGateway = 11,       ///< number: an IPv4 address
    kPortNumber = 12,    ///< number: 1 to 65535
    kArgument = 13,      ///< text; once or more often, the program first
    kEnvironment = 14,   ///< text, NAME=VALUE; any number of times
    kRoot = 15,          ///< text: the folder that is the command's, or the request's, /
    kCapabilities = 16,  ///< number: bit N is capability N that it may have or get; left out: all
    kRows = 17,          ///< number, 0 to 65535; of kRun: the command gets a terminal
    kColumns = 18,       ///< number, 0 to 65535
    kValue = 19,         ///< number: of a signal
    kError = 20,         ///< number: an errno
    kText = 21,          ///< text: what was tried
    kStatus = 22,        ///< number: 0 to 255
    kBySignal = 23,      ///< number: of the signal that ended it
    kTarget = 24,        ///< text: of a symbolic link
    kDevice = 25,        ///< number: of a node, as makedev(3) makes it
    // Of kRun only.
    kNamespaces = 26,  ///< number: CLONE_NEW… of those that are its own, of NS, PID, UTS, IPC and CGROUP.
                       ///< With PID it is the first process of its own, and the working folder is made
                       ///< where it is missing; a root then has a /proc, with IPC a /dev/mqueue, and with
                       ///< CGROUP a /sys/fs/cgroup of these namespaces
    kJoined = 27,      ///< number: of the command whose namespaces, root included, it runs in; with none
                       ///< of its own
    kHostName = 28,    ///< text, up to 64 bytes: where UTS is its own
    kGroup = 29,       ///< text: the folder of the control group that it is in
    kUser = 30,        ///< text: NAME|ID[:GROUP|ID], as the root's /etc/passwd and /etc/group have them,
                       ///< which also say further groups, and HOME where the environment does not
    kNoNewPrivileges = 31,  ///< number: 1 where it must not get rights by executing a file
    kLimit = 32,            ///< bytes: three numbers, RLIMIT_…, the soft and the hard limit; up to 16 times
    kHidden = 33,           ///< text: what it cannot see into; up to 64 times, and likewise the next. What is
                            ///< not there is left out
    kUnwritable = 34,       ///< text: what it cannot write to
    kInit = 35,             ///< number: 1 where PID is its own and the first process there is an init of the
                            ///< agent's, whose child the command is: it passes signals on, reaps whoever is
                            ///< left to it, and ends with the command, with its status or 128 and the
                            ///< signal's number
    // Of kEntry behind kTransfer.
    kOwner = 40,  ///< number, 32 bits, and the next
    kOwnersGroup = 41,
    kSeconds = 42,      ///< number, of two's complement: of the last change, since 1970
    kNanoseconds = 43,  ///< number, below 10^9
    kSize = 44,         ///< number: bytes of a file
    kHardLink = 45,     ///< text: the path of an entry before it, of whose file this is another name
    kResolved = 46,     ///< text: what a symbolic link leads to in the end, below the root: absolute
    kAttribute = 47,    ///< bytes: an extended attribute's name, a zero, and its value; any number of times
    kChange = 48,       ///< number
};

inline uint32_t load_word(const uint8_t* from) {
    return uint32_t{from[0]} | uint32_t{from[1]} << 8 | uint32_t{from[2]} << 16 | uint32_t{from[3]} << 24;
}

inline void store_word(uint8_t* to, uint32_t value) {
    for (int index = 0; index < 4; ++index) {
        to[index] = static_cast<uint8_t>(value >> (8 * index));
    }
}

/// The bytes lie where they were received, until more are.
struct Frame {
    uint32_t type = 0;
    uint32_t number = 0;
    const uint8_t* payload = nullptr;
    uint32_t size = 0;
};

struct Field {
    uint32_t tag = 0;
    const uint8_t* bytes = nullptr;
    uint32_t size = 0;

    /// False where it is no number.
    bool number(uint64_t& value) const {
        if (size != 8) {
            return false;
        }
        value = load_word(bytes) | uint64_t{load_word(bytes + 4)} << 32;
        return true;
    }
    /// Null where it is no text.
    const char* text() const {
        return size > 0 && memchr(bytes, 0, size) == bytes + size - 1 ? reinterpret_cast<const char*>(bytes)
                                                                      : nullptr;
    }
};

/// Takes a payload apart.
class FieldReader {
  public:
    explicit FieldReader(const Frame& frame) : next_{frame.payload}, left_{frame.size} {}

    /// False at the end, and where the rest is no field: is_bad() tells.
    bool next(Field& field) {
        constexpr uint32_t kFieldHeader = 8;
        if (left_ == 0) {
            return false;
        }
        if (left_ < kFieldHeader || load_word(next_ + 4) > left_ - kFieldHeader) {
            bad_ = true;
            return false;
        }
        field = {load_word(next_), next_ + kFieldHeader, load_word(next_ + 4)};
        next_ += kFieldHeader + field.size;
        left_ -= kFieldHeader + field.size;
        return true;
    }
    bool is_bad() const { return bad_; }

  private:
    const uint8_t* next_;
    uint32_t left_;
    bool bad_ = false;
};

/// Finds the frames in what comes. The room is the caller's: kHeaderSize bytes and the largest payload.
class FrameReader {
  public:
    FrameReader(uint8_t* room, size_t size) : room_{room}, size_{size} {}

    /// Where further bytes are to be put, and how many find room: above zero unless a frame is whole.
    uint8_t* space() { return room_ + end_; }
    size_t space_size() const { return size_ - end_; }
    void add(size_t count) { end_ += count; }
    /// Whether the next frame has begun to come.
    bool has_part() const { return end_ > begin_; }

    /// The next frame, where it is whole. False where it is not, or is larger than it may be: is_bad() tells.
    bool next(Frame& frame) {
        const size_t have = end_ - begin_;
        const uint8_t* at = room_ + begin_;
        const uint32_t size = have < kHeaderSize ? 0 : load_word(at + 8);
        bad_ = bad_ || size > size_ - kHeaderSize;
        if (bad_ || have < kHeaderSize || have - kHeaderSize < size) {
            if (at != room_) {  // where nothing is to be moved, a C library may do so a byte at a time
                memmove(room_, at, have);
            }
            begin_ = 0;
            end_ = have;
            return false;
        }
        frame = {load_word(at), load_word(at + 4), at + kHeaderSize, size};
        begin_ += kHeaderSize + size;
        return true;
    }
    bool is_bad() const { return bad_; }

  private:
    uint8_t* room_;
    size_t size_;
    size_t begin_ = 0;
    size_t end_ = 0;
    bool bad_ = false;
};

/// Makes a frame in the caller's room, which has at least kHeaderSize bytes.
class FrameWriter {
  public:
    FrameWriter(uint8_t* room, size_t size, uint32_t type, uint32_t number) : room_{room}, size_{size} {
        store_word(room, type);
        store_word(room + 4, number);
        store_word(room + 8, 0);
    }

    void add_bytes(Tag tag, const void* bytes, size_t size) {
        constexpr size_t kFieldHeader = 8;
        if (size > size_ || size_ - size < used_ + kFieldHeader) {
            fits_ = false;
            return;
        }
        store_word(room_ + used_, tag);
        store_word(room_ + used_ + 4, static_cast<uint32_t>(size));
        memcpy(room_ + used_ + kFieldHeader, bytes, size);
        used_ += kFieldHeader + size;
        store_word(room_ + 8, static_cast<uint32_t>(used_ - kHeaderSize));
    }
    void add_number(Tag tag, uint64_t value) {
        uint8_t bytes[8];
        store_word(bytes, static_cast<uint32_t>(value));
        store_word(bytes + 4, static_cast<uint32_t>(value >> 32));
        add_bytes(tag, bytes, sizeof bytes);
    }
    void add_text(Tag tag, const char* text) { add_bytes(tag, text, strlen(text) + 1); }

    /// The whole frame's bytes; 0 where something found no room.
    size_t size() const { return fits_ ? used_ : 0; }

  private:
    uint8_t* room_;
    size_t size_;
    size_t used_ = kHeaderSize;
    bool fits_ = true;
};

}  // namespace hull::agent
