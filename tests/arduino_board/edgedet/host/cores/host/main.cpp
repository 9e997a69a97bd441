#include "Arduino.h"

#include <cstdio>

SerialPort Serial;

void SerialPort::begin(unsigned long baud) { (void)baud; }
void SerialPort::println(const char *line) { std::puts(line); }
unsigned long millis(void) { return 0; }
void delay(unsigned long ms) { (void)ms; }

int main()
{
    setup();
    loop();
    return 0;
}
