/* dev/testdev: the bench ports of QEMU's pc-testdev. */
#include "dev/testdev.h"
#include "tests/lib_devtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fix {
    struct devtest t;
    struct testdev *dev;
};

static int setup(void **state)
{
    static struct fix f;
    devtest_init(&f.t);
    f.dev = testdev_new(f.t.bus);
    *state = &f;
    return f.dev ? 0 : -1;
}

static int teardown(void **state)
{
    struct fix *f = *state;
    testdev_free(f->dev);
    devtest_fini(&f->t);
    return 0;
}

static void loopback_returns_parts_of_what_was_written(void **state)
{
    struct fix *f = *state;
    bus_io_write(f->t.bus, 0xe0, 0x12345678, 4);
    assert_int_equal(bus_io_read(f->t.bus, 0xe0, 4), 0x12345678);
    assert_int_equal(bus_io_read(f->t.bus, 0xe2, 2), 0x1234);
    assert_int_equal(bus_io_read(f->t.bus, 0xe1, 1), 0x56);
    bus_io_write(f->t.bus, 0xe3, 0xaa, 1);
    bus_io_write(f->t.bus, 0xe0, 0xbbcc, 2);
    assert_int_equal(bus_io_read(f->t.bus, 0xe0, 4), 0xaa34bbcc);
}

static void line_port_drives_the_line(void **state)
{
    struct fix *f = *state;
    bus_io_write(f->t.bus, 0x2005, 1, 1);
    assert_true(f->t.line[5]);
    bus_io_write(f->t.bus, 0x2005, 0, 1);
    assert_false(f->t.line[5]);
    bus_io_write(f->t.bus, 0x2017, 1, 1); /* no such ISA line */
}

static void ram_at_ff000000_holds_64_kib(void **state)
{
    struct fix *f = *state;
    uint32_t in = 0xcafe1234, out = 0;
    phys_write(f->t.phys, 0xff00fffc, &in, 4);
    phys_read(f->t.phys, 0xff00fffc, &out, 4);
    assert_int_equal(out, in);
    phys_read(f->t.phys, 0xff010000, &out, 4);
    assert_int_equal(out, 0xffffffff);
}

static void state_survives_save_and_hostile_loads(void **state)
{
    struct fix *f = *state;
    bus_io_write(f->t.bus, 0xe0, 77, 4);
    assert_true(devtest_copy(&testdev_ops, f->dev, f->dev));
    devtest_hostile_loads(&testdev_ops, f->dev, f->dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            loopback_returns_parts_of_what_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(line_port_drives_the_line, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(ram_at_ff000000_holds_64_kib, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(state_survives_save_and_hostile_loads,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
