import CLinux
import CPcap
import DHCPWire
import NetworkTypes
import Synchronization

/// One libpcap handle on one interface.
struct CaptureHandle: ~Copyable {
  private let handle: OpaquePointer

  enum Direction {
    case incoming
    /// What this machine sends itself, but for what this handle does. The kernel makes a copy of each packet that leaves for
    /// such a handle: to be open for moments only.
    case outgoing
  }

  /// Opens the interface for whole frames in immediate mode, without promiscuous mode, never waiting.
  /// - Parameters:
  ///   - filter: What the kernel hands over, in libpcap's language.
  ///   - onlyProtocol: An EtherType: frames of others the handle never sees. Not for what is to be told by its VLAN: the kernel
  ///     takes the tag away before such a handle's turn comes.
  init(
    interface: String, filter: String, bufferBytes: Int32, direction: Direction = .incoming,
    onlyProtocol: UInt16? = nil
  ) throws(DHCPServerError) {
    handle = try Self.open(interface, filter, bufferBytes, direction, onlyProtocol)
  }

  private static func open(
    _ interface: String, _ filter: String, _ bufferBytes: Int32, _ direction: Direction, _ onlyProtocol: UInt16?
  ) throws(DHCPServerError) -> OpaquePointer {
    var message = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
    guard let handle = pcap_create(interface, &message) else {
      throw .failed(what: "open a capture", interface: interface, why: text(message))
    }
    // The kernel keeps the room of the longest frame for each: what no frame of the interface has is not asked for.
    let longest = min(DHCPMessage.maximumLength, Interface.mtu(of: interface) ?? .max) + 128
    pcap_set_snaplen(handle, Int32(longest))
    if let onlyProtocol { pcap_set_protocol_linux(handle, Int32(onlyProtocol)) }
    do {
      try activate(handle, interface, filter, bufferBytes, direction)
    } catch {
      pcap_close(handle)
      throw error
    }
    return handle
  }

  private static func activate(
    _ handle: OpaquePointer, _ interface: String, _ filter: String, _ bufferBytes: Int32, _ direction: Direction
  ) throws(DHCPServerError) {
    pcap_set_promisc(handle, 0)
    pcap_set_immediate_mode(handle, 1)
    pcap_set_buffer_size(handle, bufferBytes)
    switch pcap_activate(handle) {
    case 0...:
      break
    case PCAP_ERROR_NO_SUCH_DEVICE:
      throw .noSuchInterface(interface)
    case PCAP_ERROR_IFACE_NOT_UP:
      throw .interfaceDown(interface)
    case PCAP_ERROR_PERM_DENIED:
      throw .noPermission(what: "capture and send frames", interface: interface)
    default:
      throw .failed(what: "start the capture", interface: interface, why: error(handle))
    }
    guard pcap_datalink(handle) == DLT_EN10MB else { throw .notEthernet(interface) }
    var message = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
    guard pcap_setnonblock(handle, 1, &message) == 0 else {
      throw .failed(what: "make the capture non-blocking", interface: interface, why: text(message))
    }
    var program = bpf_program()
    guard pcap_compile(handle, &program, filter, 1, bpf_u_int32.max) == 0 else {
      throw .failed(what: "compile the filter '\(filter)'", interface: interface, why: error(handle))
    }
    defer { pcap_freecode(&program) }
    guard pcap_setfilter(handle, &program) == 0,
      pcap_setdirection(handle, direction == .incoming ? PCAP_D_IN : PCAP_D_OUT) == 0
    else {
      throw .failed(what: "set the filter '\(filter)'", interface: interface, why: error(handle))
    }
    // libpcap lets the kernel copy them, and throws them away itself.
    if direction == .incoming { Interface.ignoreOutgoing(pcap_fileno(handle)) }
  }

  deinit {
    pcap_close(handle)
  }

  /// What to wait for until there are frames (poll(2)).
  var descriptor: CInt { pcap_get_selectable_fd(handle) }

  /// Hands over the frames that are there, `limit` at most.
  /// - Returns: `false` where the interface is gone.
  func read(limit: Int, _ body: (Span<UInt8>) -> Void) -> Bool {
    var header: UnsafeMutablePointer<pcap_pkthdr>?
    var bytes: UnsafePointer<UInt8>?
    for _ in 0..<limit {
      let result = pcap_next_ex(handle, &header, &bytes)
      // A packet; none any more; anything else is an error (the interface went down or away).
      guard result == 1 else { return result == 0 }
      guard let header, let bytes else { return true }
      // The bytes are libpcap's until the next call, and are read only here.
      body(Span(_unsafeStart: bytes, count: Int(header.pointee.caplen)))
    }
    return true
  }

  /// Sends one whole frame.
  /// - Returns: Whether the kernel took it.
  func inject(_ frame: [UInt8]) -> Bool {
    pcap_inject(handle, frame, frame.count) == Int32(frame.count)
  }

  /// Sends whole frames in as few system calls as there are frames that the kernel does not take, and one.
  /// - Returns: The numbers of those frames.
  func send(_ frames: FrameBatch) -> [Int] {
    var refused: [Int] = []
    var first = 0
    var place = 0
    while first < frames.lengths.count {
      let taken = frames.bytes.withUnsafeBufferPointer { bytes in
        frames.lengths.withUnsafeBufferPointer { lengths in
          Int(
            clinux_dhcp_send_frames(
              pcap_fileno(handle), bytes.baseAddress.map { $0 + place }, lengths.baseAddress.map { $0 + first },
              UInt32(lengths.count - first)))
        }
      }
      if first + taken < frames.lengths.count { refused.append(first + taken) }
      let next = min(first + taken + 1, frames.lengths.count)
      place += frames.lengths[first..<next].reduce(0) { $0 + Int($1) }
      first = next
    }
    return refused
  }

  /// What the kernel dropped since no one read fast enough.
  var dropped: Int {
    var statistics = pcap_stat()
    return pcap_stats(handle, &statistics) == 0 ? Int(statistics.ps_drop) : 0
  }

  private static func error(_ handle: OpaquePointer) -> String {
    pcap_geterr(handle).map { String(cString: $0) } ?? "no reason given"
  }

  private static func text(_ message: [CChar]) -> String {
    String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// Frames that are to be sent together.
struct FrameBatch {
  /// One behind the other.
  fileprivate(set) var bytes: [UInt8] = []
  fileprivate(set) var lengths: [UInt32] = []

  mutating func append(_ frame: [UInt8]) {
    bytes += frame
    lengths.append(UInt32(frame.count))
  }

  /// - Parameter message: Behind ``DHCPWire/UDPFrame/headerLength`` bytes of room, where the headers come to lie.
  mutating func append(_ message: [UInt8], behind headers: UDPFrame) {
    let start = bytes.count
    append(message)
    headers.writeHeaders(into: &bytes, at: start)
  }

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    lengths.removeAll(keepingCapacity: true)
  }
}

/// A handle to send frames with, which sees none itself: it shares nothing with the thread that reads,
/// and costs nothing per packet.
final class FrameSender: Sendable {
  private struct Handle: ~Copyable {
    let capture: CaptureHandle
  }

  /// The EtherType that IEEE 802 keeps for local experiments: nothing we could meet has it, and libpcap
  /// cannot open a handle for no protocol at all.
  private static let unusedProtocol: UInt16 = 0x88B5

  private let handle: Mutex<Handle>

  init(interface: String) throws(DHCPServerError) {
    let capture = try CaptureHandle(
      interface: interface, filter: "less 1", bufferBytes: 64 * 1024, onlyProtocol: Self.unusedProtocol)
    handle = Mutex(Handle(capture: capture))
  }

  /// Sends one whole frame.
  /// - Returns: Whether the kernel took it.
  func send(_ frame: [UInt8]) -> Bool {
    handle.withLock { $0.capture.inject(frame) }
  }

  /// Sends whole frames.
  /// - Returns: The numbers of those that the kernel did not take.
  func send(_ frames: FrameBatch) -> [Int] {
    handle.withLock { $0.capture.send(frames) }
  }
}
