/// The configuration that pxelinux runs.
package enum PXELINUXConfiguration {
  package static func text(_ instruction: BootInstruction, _ source: LoaderSource) -> String {
    switch instruction {
    case .start(let start):
      """
      # Boot \(start.boot.id) of \(start.title).
      SAY \(line("Perseid: this is \(start.title)"))
      SAY Perseid: fetching the kernel (\(ByteCount.words(start.kernelBytes))) and the initramfs \
      (\(ByteCount.words(start.initramfsBytes)))
      DEFAULT perseid
      PROMPT 0
      \(again(source, seconds: source.pause))
      LABEL perseid
        LINUX b/\(start.boot.id)/kernel
        INITRD b/\(start.boot.id)/initramfs
        APPEND \(line(start.commandLine(server: source.server, port: source.port)))

      """
    case .wait(let reason):
      """
      SAY \(line("Perseid: \(reason)"))
      SAY Perseid: next try in \(source.pause) seconds
      DEFAULT again
      PROMPT 1
      \(again(source, seconds: source.pause))

      """
    case .leave(let reason):
      """
      SAY \(line("Perseid: \(reason)"))
      SAY Perseid: going on to the next boot device
      DEFAULT next
      PROMPT 0
      LABEL next
        LOCALBOOT -1

      """
    }
  }

  /// After a failure pxelinux shows its prompt; when nobody types anything there, it asks again.
  private static func again(_ source: LoaderSource, seconds: Int) -> String {
    """
    TIMEOUT \(seconds * 10)
    ONTIMEOUT again
    LABEL again
      CONFIG pxelinux.cfg/\(source.again)
    """
  }

  private static func line(_ text: String) -> String { String(text.map { $0.isNewline ? " " : $0 }) }
}
