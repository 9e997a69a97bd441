/* What the sketches use of Arduino's core, for a board that is this computer; loop() runs once. */
#ifndef ARDUINO_H_
#define ARDUINO_H_

#ifdef __cplusplus
struct SerialPort {
    void begin(unsigned long baud);
    void println(const char *line);
    explicit operator bool() const { return true; }
};
extern SerialPort Serial;

extern "C" {
#endif
unsigned long millis(void);
void delay(unsigned long ms);
void setup(void);
void loop(void);
#ifdef __cplusplus
}
#endif

#endif
