import Crypto
import Glibc
import NIOHTTP1
import TFTP

/// An answer as it goes out: the head with every field, and what of the body is sent.
struct PreparedResponse: Sendable {
  var head: HTTPResponseHead
  /// Pieces of the body, none of them empty, one after the other.
  var slices: [Slice]
  /// Whether the connection ends with it.
  var closes: Bool
  var receipt: DeliveryReceipt?

  enum Slice: Sendable {
    case bytes(ArraySlice<UInt8>)
    /// `range` in bytes of a file of `size` bytes.
    case file(path: String, size: Int, range: Range<Int>)
  }

  /// The answer to a request with this head (RFC 9110 sections 13 and 14).
  init(_ response: NodeResponse, to request: HTTPRequestHead, closes: Bool, now: Int) {
    let fault = Self.fault(in: response)
    var answer = fault ?? response
    var isReplaced = fault != nil
    let size = answer.body.size
    let isHead = request.method == .HEAD
    var fields: [(String, String)] = [("Date", HTTPDate.text(now))]
    var range = 0..<size
    if answer.isImmutable && answer.status == 200 {
      let tag = answer.fields.first { $0.name.lowercased() == "etag" }?.value ?? Self.entityTag(of: answer.body)
      fields += [
        ("Accept-Ranges", "bytes"), ("Cache-Control", "public, max-age=31536000, immutable"), ("ETag", tag),
      ]
      answer.fields.removeAll { ["etag", "cache-control"].contains($0.name.lowercased()) }
      if Self.lists(request.headers[canonicalForm: "if-none-match"].map(String.init), tag) {
        answer.status = 304
      } else if request.method == .GET, Self.permitsRange(request.headers, tag) {
        switch ByteRange(request.headers.first(name: "range"), size: size) {
        case .whole: break
        case .part(let part):
          answer.status = 206
          fields.append(("Content-Range", "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(size)"))
          range = part
        case .unsatisfiable:
          answer = .text(416, "This has \(size) bytes.\n")
          isReplaced = true
          fields.append(("Content-Range", "bytes */\(size)"))
          range = 0..<answer.body.size
        }
      }
    } else {
      fields += [("Accept-Ranges", "none")]
      if !answer.fields.contains(where: { $0.name.lowercased() == "cache-control" }) {
        fields.append(("Cache-Control", "no-store"))
      }
    }
    let hasBody = answer.status != 204 && answer.status != 304
    if hasBody {
      fields += [("Content-Length", String(range.count)), ("Content-Type", answer.contentType)]
    }
    fields += answer.fields.map { ($0.name, $0.value) }
    if closes {
      fields.append(("Connection", "close"))
    } else if request.version == .http1_0 {
      fields.append(("Connection", "keep-alive"))
    }
    head = HTTPResponseHead(
      version: request.version, status: HTTPResponseStatus(statusCode: answer.status),
      headers: HTTPHeaders(fields.filter { Self.isSound(name: $0.0, value: $0.1) }))
    slices = hasBody && !isHead ? Self.slices(of: answer.body, in: range) : []
    self.closes = closes
    receipt = isHead ? nil : response.delivered.map(DeliveryReceipt.init)
    if isReplaced {
      receipt?.settle(NodeResponse.Delivery(bytes: 0, seconds: 0, isComplete: false))
    }
  }

  var hasFile: Bool { slices.contains { if case .file = $0 { true } else { false } } }

  /// Bytes of the body that are sent.
  var size: Int {
    slices.reduce(0) { total, slice in
      switch slice {
      case .bytes(let bytes): total + bytes.count
      case .file(_, _, let range): total + range.count
      }
    }
  }

  /// A 500 to send in the place of an answer that cannot be sent: a redirect (UEFI HTTP boot follows
  /// none), or a file that is not there or shorter than was said.
  private static func fault(in response: NodeResponse) -> NodeResponse? {
    if (300..<400).contains(response.status) && response.status != 304 {
      return .text(500, "The appliance answered with a redirect, which boot firmware does not follow.\n")
    }
    for case .file(let path, let size) in response.body.parts {
      var status = stat()
      guard stat(path, &status) == 0 else {
        return .text(500, "A file of the content store is missing: \(path)\n")
      }
      guard Int(status.st_size) >= size else {
        return .text(500, "A file of the content store is cut short: \(path), \(status.st_size) of \(size) bytes\n")
      }
    }
    return nil
  }

  /// A strong tag: equal only where every byte is. Files of the content store are named after their digest.
  private static func entityTag(of body: Content) -> String {
    var hash = SHA256()
    for part in body.parts {
      switch part {
      case .bytes(let bytes):
        hash.update(data: bytes)
      case .file(let path, let size):
        hash.update(data: Array("\(path.split(separator: "/").last ?? "") \(size)\n".utf8))
      }
    }
    let digits = hash.finalize().prefix(16).map { byte in
      String(byte >> 4, radix: 16) + String(byte & 0xF, radix: 16)
    }
    return "\"" + digits.joined() + "\""
  }

  /// Whether an If-None-Match list names the tag (weak comparison, RFC 9110 section 8.8.3.2).
  private static func lists(_ values: [String], _ tag: String) -> Bool {
    values.contains { value in
      let value = value.hasPrefix("W/") ? String(value.dropFirst(2)) : value
      return value == "*" || value == tag
    }
  }

  /// RFC 9110 section 14.2: a Range field counts only where If-Range is absent or matches.
  private static func permitsRange(_ headers: HTTPHeaders, _ tag: String) -> Bool {
    headers.first(name: "if-range").map { $0 == tag } ?? true
  }

  /// An empty value makes EDK2's HTTP client give up the whole answer; a line break would end the field.
  private static func isSound(name: String, value: String) -> Bool {
    !name.isEmpty && !value.isEmpty && value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
  }

  private static func slices(of content: Content, in range: Range<Int>) -> [Slice] {
    var slices: [Slice] = []
    var start = 0
    for part in content.parts {
      let size: Int
      switch part {
      case .bytes(let bytes): size = bytes.count
      case .file(_, let bytes): size = bytes
      }
      let wanted = range.clamped(to: start..<start + size)
      if !wanted.isEmpty {
        switch part {
        case .bytes(let bytes):
          slices.append(.bytes(bytes[(wanted.lowerBound - start)..<(wanted.upperBound - start)]))
        case .file(let path, let size):
          slices.append(.file(path: path, size: size, range: wanted.lowerBound - start..<wanted.upperBound - start))
        }
      }
      start += size
    }
    return slices
  }
}
