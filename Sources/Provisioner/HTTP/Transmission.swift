import Glibc
import NIOCore

/// An answer under way: which piece is next, which file is open, how much has been taken by the network.
final class Transmission {
  /// Bytes of the body that the kernel has taken.
  var sentBytes = 0
  /// Whether the last piece was taken in little time.
  var isPrompt = false
  var isEndWritten = false
  private(set) var piecesUnderWay = 0
  private var slices: ArraySlice<PreparedResponse.Slice>
  private var openFile: NIOFileHandle?
  /// Files whose last piece is handed over, until that piece is written.
  private var finishedFiles: [NIOFileHandle] = []
  private let receipt: DeliveryReceipt?
  private let promise: EventLoopPromise<Void>?
  private let began = NIODeadline.now()
  private var isOver = false

  init(_ response: PreparedResponse, promise: EventLoopPromise<Void>?) {
    slices = response.slices[...]
    receipt = response.receipt
    self.promise = promise
  }

  /// Bytes of a file that come next; `nil` where something else does.
  var nextFileBytes: Int? {
    if case .file(_, _, let range) = slices.first { range.count } else { nil }
  }

  var isAllHandedOver: Bool { slices.isEmpty }

  /// The next piece to write, at most `limit` bytes; `nil` where all has been handed over.
  /// - Throws: `IOError` where a file cannot be opened.
  func nextPiece(_ allocator: ByteBufferAllocator, limit: Int) throws -> IOData? {
    guard let slice = slices.first else { return nil }
    switch slice {
    case .bytes(let bytes):
      let piece = bytes.prefix(limit)
      advance(to: piece.count < bytes.count ? .bytes(bytes.dropFirst(limit)) : nil)
      piecesUnderWay += 1
      return .byteBuffer(allocator.buffer(bytes: piece))
    case .file(let path, let size, let range):
      let file = try openFile ?? Self.open(path)
      openFile = file
      let end = min(range.upperBound, range.lowerBound + limit)
      let region = FileRegion(fileHandle: file, readerIndex: range.lowerBound, endIndex: end)
      if end == range.upperBound {
        finishedFiles.append(file)
        openFile = nil
        advance(to: nil)
      } else {
        advance(to: .file(path: path, size: size, range: end..<range.upperBound))
      }
      piecesUnderWay += 1
      return .fileRegion(region)
    }
  }

  private func advance(to rest: PreparedResponse.Slice?) {
    slices = slices.dropFirst()
    if let rest { slices = [rest] + slices }
  }

  func pieceEnded(bytes: Int) {
    piecesUnderWay -= 1
    if piecesUnderWay == 0 { closeFinishedFiles() }
  }

  /// Closes what is open and tells how it ended; the first call counts.
  func end(isComplete: Bool, at now: NIODeadline, error: any Error = ChannelError.ioOnClosedChannel) {
    guard !isOver else { return }
    isOver = true
    slices = []
    if let openFile { finishedFiles.append(openFile) }
    openFile = nil
    if piecesUnderWay == 0 { closeFinishedFiles() }
    let seconds = Double((now - began).nanoseconds) / 1e9
    receipt?.settle(NodeResponse.Delivery(bytes: sentBytes, seconds: seconds, isComplete: isComplete))
    if isComplete { promise?.succeed() } else { promise?.fail(error) }
  }

  /// A failed close of a file that was only read loses nothing.
  private func closeFinishedFiles() {
    for file in finishedFiles { try? file.close() }
    finishedFiles = []
  }

  private static func open(_ path: String) throws -> NIOFileHandle {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "open \(path)") }
    return NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: descriptor)
  }
}
