/// How the blocks of one transfer are sent, and what the client is told of it: the answer to its options.
package struct Negotiation: Hashable, Sendable {
  /// What a server is ready to do.
  package struct Limits: Hashable, Sendable {
    /// Bytes of the largest block, 8 to 65464.
    package let blockSize: Int
    /// Blocks sent ahead of their acknowledgement at most, 1 or more.
    package let windowSize: Int

    /// - Parameters:
    ///   - mtu: Bytes of the largest packet that reaches clients unfragmented, IP header included. Blocks are
    ///     32 bytes smaller: 20 of IP, 8 of UDP, 4 of TFTP. ROMs cannot put fragments together.
    ///   - windowSize: 1 to 32767, so that a block's 16-bit number is never ambiguous.
    package init(mtu: Int, windowSize: Int = 64) {
      blockSize = min(max(mtu - 32, Negotiation.blockSizes.lowerBound), Negotiation.blockSizes.upperBound)
      self.windowSize = min(max(windowSize, 1), 32767)
    }
  }

  /// Bytes of a block: RFC 1350 where nothing else is agreed upon.
  package var blockSize = 512
  /// Blocks that may be under way: RFC 7440.
  package var windowSize = 1
  /// Seconds until something is sent again, where the client asked for a number of them: RFC 2349.
  package var timeout: Int?
  /// Whether the client asked for the size: RFC 2349.
  package var sizeAsked = false
  /// The options to acknowledge: a part of those asked, in that order and spelling. Empty: no OACK.
  package var acknowledged: [Request.Option] = []

  /// RFC 2348: "valid values range between "8" and "65464" octets, inclusive".
  package static let blockSizes = 8...65464

  /// RFC 2347: "An option which is not supported … is simply omitted from the OACK". So is one with a value out of
  /// its RFC's range, and the second of two of the same name.
  /// - Parameter size: Bytes of the whole content as they will be sent.
  package init(_ options: [Request.Option], limits: Limits, size: Int) {
    var seen: Set<[UInt8]> = []
    var windowIndex: Int?
    for option in options {
      let name = lowercased(option.name)
      guard seen.insert(name).inserted, let number = decimal(option.value) else { continue }
      let answer: UInt64
      switch name {
      case Self.blockSizeName:
        guard (8...65464).contains(number) else { continue }
        answer = min(number, UInt64(limits.blockSize))
        blockSize = Int(answer)
      case Self.windowSizeName:
        guard (1...65535).contains(number) else { continue }
        answer = min(number, UInt64(limits.windowSize))
        windowSize = Int(answer)
        windowIndex = acknowledged.count
      case Self.timeoutName:
        guard (1...255).contains(number) else { continue }
        answer = number
        timeout = Int(answer)
      case Self.sizeName:
        // curl takes a size of 0 for a broken OACK and gives up; without one it reads the empty file.
        guard size > 0 else { continue }
        answer = UInt64(size)
        sizeAsked = true
      default: continue
      }
      acknowledged.append(Request.Option(name: option.name, value: Array(String(answer).utf8)))
    }
    // A window larger than the client's receive buffer would be lost in part every time. Known only now:
    // the block's size may come after the window's.
    if let windowIndex, windowSize * blockSize > Self.windowBytes {
      windowSize = max(1, Self.windowBytes / blockSize)
      acknowledged[windowIndex].value = Array(String(windowSize).utf8)
    }
  }

  /// Bytes of the largest window.
  static let windowBytes = 128 << 10

  private static let blockSizeName = Array("blksize".utf8)
  private static let windowSizeName = Array("windowsize".utf8)
  private static let timeoutName = Array("timeout".utf8)
  private static let sizeName = Array("tsize".utf8)
}

/// A number of decimal digits only; `nil` for signs, blanks, nothing, or more than 64 bits hold.
func decimal(_ text: [UInt8]) -> UInt64? {
  guard !text.isEmpty else { return nil }
  var value: UInt64 = 0
  for character in text {
    guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(character) else { return nil }
    let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
    let (sum, overflow) = product.addingReportingOverflow(UInt64(character - UInt8(ascii: "0")))
    guard !tooLarge, !overflow else { return nil }
    value = sum
  }
  return value
}
