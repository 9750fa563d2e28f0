import Foundation

import struct Lab.Command

/// A directory that is removed at the end of a test.
package final class TemporaryDirectory {
  package let path: String

  package init() throws {
    var template = Array("/tmp/perseid-test-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw CommandFailure(text: "mkdtemp failed") }
    path = String(cString: made)
  }

  deinit {
    try? FileManager.default.removeItem(atPath: path)
  }

  package func write(_ bytes: [UInt8], to name: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
  }

  package func read(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
  }

  /// Runs a shell script here and gives its standard output.
  @discardableResult
  package func run(_ script: String) throws -> String {
    let output = "\(path)/.output-\(UInt64.random(in: 0...UInt64.max))"
    let status = try Command(["/bin/sh", "-euc", script], directory: path)
      .runHere(outputTo: output, timeout: .seconds(1800))
    let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: output)), as: UTF8.self)
    try FileManager.default.removeItem(atPath: output)
    guard status == .exited(0) else {
      throw CommandFailure(text: "\(script)\nended with \(status):\n\(text)")
    }
    return text
  }
}

package struct CommandFailure: Error, CustomStringConvertible {
  package var text: String
  package var description: String { text }
}

package func isInstalled(_ program: String) -> Bool {
  ["/bin", "/usr/bin", "/usr/sbin", "/sbin"].contains {
    FileManager.default.isExecutableFile(atPath: "\($0)/\(program)")
  }
}

package let isRoot = geteuid() == 0
