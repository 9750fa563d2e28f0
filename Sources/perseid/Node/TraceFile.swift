import DHCP
import FoundationEssentials
import Glibc
import Provisioner
import Synchronization

/// The file of a trace: whole blocks only, so that it can be opened whenever it ended.
final class TraceFile: Sendable {
  private struct State {
    var blocks = PCAPNGBlocks()
    /// JSON in place of blocks.
    var refusal: [UInt8] = []
    var bytes = 0
    var packets = 0
    /// Why it ended, as the appliance said with the last block.
    var ending: String?
  }

  private let path: String
  private let descriptor: CInt
  private let isNew: Bool
  private let state = Mutex(State())

  /// - Parameters:
  ///   - path: `-` is standard output.
  ///   - mayReplace: Asked where there is such a file; throws where it may not be replaced.
  init(path: String, mayReplace: () throws -> Void) throws {
    self.path = path
    if path == "-" {
      guard isatty(STDOUT_FILENO) == 0 else {
        throw ApplianceError(
          .refused,
          "The packets are no text for a terminal. Name a file with -o, or pipe them: -o - | wireshark -k -i -")
      }
      (descriptor, isNew) = (STDOUT_FILENO, false)
      return
    }
    let flags = O_WRONLY | O_CREAT | O_CLOEXEC
    var opened = open(path, flags | O_EXCL, 0o600)
    let exists = opened < 0 && errno == EEXIST
    if exists {
      try mayReplace()
      opened = open(path, flags, 0o600)
    }
    guard opened >= 0 else {
      throw ApplianceError(
        .failed,
        "\(path) cannot be written: \(String(cString: strerror(errno))). Name another file with -o, in a directory "
          + "that is there and that you may write to.")
    }
    (descriptor, isNew) = (opened, !exists)
  }

  deinit {
    if descriptor != STDOUT_FILENO { close(descriptor) }
  }

  var hasBegun: Bool { state.withLock { $0.bytes > 0 } }

  var summary: (packets: Int, bytes: Int, ending: String?) {
    state.withLock { ($0.packets, $0.bytes, $0.ending) }
  }

  func end(because reason: String) {
    state.withLock { $0.ending = reason }
  }

  /// Leaves nothing of a trace that did not begin.
  func discard() {
    if isNew, !hasBegun { unlink(path) }
  }

  /// - Throws: `ApplianceError` where the appliance said no, or the file takes no more.
  func write(_ piece: [UInt8]) throws {
    try state.withLock { state in
      if state.bytes == 0, !state.refusal.isEmpty || piece.first == UInt8(ascii: "{") {
        state.refusal += piece
        guard let failure = try? JSONDecoder().decode(AdminFailure.self, from: Data(state.refusal)) else { return }
        throw ApplianceError(failure.error.code, failure.error.message)
      }
      guard let whole = state.blocks.take(piece) else {
        throw ApplianceError(
          .failed,
          "The appliance's answer is no trace. It may be of another version than this command: "
            + "restart it after an upgrade.")
      }
      for block in whole {
        if state.bytes == 0, !isNew, path != "-" { ftruncate(descriptor, 0) }
        try put(block.bytes)
        state.bytes += block.bytes.count
        switch block.type {
        case PCAPNG.BlockType.packet: state.packets += 1
        case PCAPNG.BlockType.statistics:
          state.ending = PCAPNG.comment(ofStatistics: block.bytes) ?? state.ending
        default: break
        }
      }
    }
  }

  private func put(_ block: [UInt8]) throws {
    var rest = block[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else {
        if errno == EPIPE { throw BrokenPipe() }
        throw ApplianceError(.failed, "\(path) takes no more: \(String(cString: strerror(errno))).")
      }
      rest = rest.dropFirst(count)
    }
  }
}
